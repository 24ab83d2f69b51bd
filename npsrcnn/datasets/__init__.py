"""What to train on: sub-images of a folder of images, or of dead leaves made on the spot."""

from npsrcnn.datasets.cutting import RESCALED, SubImages, sub_images

__all__ = ["RESCALED", "SubImages", "sub_images"]
