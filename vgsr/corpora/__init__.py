"""Corpora: a published layout in, a manifest out.

Each corpus is one file with one registered reader; `prepare` is the way all of them go.
"""

from vgsr.corpora import avspeech, cnceleb, cremad, folder, kaldi, librispeech, ravdess, synthetic, voxceleb1, voxceleb2
from vgsr.corpora.preparing import Count, Report, prepare
from vgsr.corpora.registry import CORPORA, Corpus, CorpusError, find

__all__ = ["CORPORA", "Corpus", "CorpusError", "Count", "Report", "find", "prepare"]

# Importing them has filled CORPORA.
READERS = (avspeech, cnceleb, cremad, folder, kaldi, librispeech, ravdess, synthetic, voxceleb1, voxceleb2)
