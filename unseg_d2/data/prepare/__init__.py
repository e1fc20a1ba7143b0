"""Public data sets in the form that the catalog expects: COCO files of one class."""
