"""Quality of a face image: an aligned crop or an embedding in, one number out (higher is better).

The third signal, the detector's own score, comes from `detect`. These are raw signals: standardising and
squashing them into weights is the training's business.
"""

import cv2
import numpy as np


def sharpness(face: np.ndarray) -> float:
    """log(1 + variance of the Laplacian) of an aligned face [112, 112, 3] (RGB, uint8).

    The variance of the Laplacian is the focus measure of Pech-Pacheco et al. (ICPR 2000); the logarithm is
    ours, because the variance spans several orders of magnitude.
    """
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    return float(np.log1p(np.asarray(cv2.Laplacian(grey, cv2.CV_64F)).var()))


def norms(embeddings: np.ndarray) -> np.ndarray:
    """L2 norm [n] (float32) of raw embeddings [n, d]; NaN for a row without an embedding.

    Networks trained with a normalised softmax give blurred and turned faces shorter embeddings
    (Ranjan et al. 2017; Meng et al., "MagFace", CVPR 2021).
    """
    return np.linalg.norm(embeddings.astype(np.float64), axis=1).astype(np.float32)
