"""From bags of features and clinical data to a model and its predictions."""
