"""Vision-guided speaker recognition: a face teacher, a speech student, and the laboratory around them."""

__version__ = "0.1.0"
