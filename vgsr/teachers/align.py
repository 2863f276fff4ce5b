"""Face alignment: an image and five landmarks in, the face as ArcFace-style networks expect it out.

A similarity transform takes the landmarks onto ArcFace's template.
"""

import cv2
import numpy as np

SIZE = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where the five landmarks lie in an aligned 112x112 face (Deng et al., "ArcFace", CVPR 2019), in pixels."""


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity [2, 3] (rotation, one scale, shift; no mirror) that best maps source [n, 2] onto target.

    Least squares in closed form: Umeyama, IEEE TPAMI 13(4), 1991, equations 39-43.
    """
    centre, goal = source.mean(axis=0), target.mean(axis=0)
    covariance = (target - goal).T @ (source - centre) / len(source)
    u, spread, v = np.linalg.svd(covariance)
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v)) or 1.0])
    rotation = (u * signs) @ v
    variance = np.square(source - centre).sum() / len(source)
    scale = (spread * signs).sum() / variance
    return np.column_stack([scale * rotation, goal - scale * rotation @ centre])


def align(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Cut the face with `landmarks` [5, 2] out of `image` [H, W, 3] as [112, 112, 3], black outside it."""
    matrix = umeyama(np.asarray(landmarks, dtype=np.float64), TEMPLATE)
    return np.asarray(cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR))
