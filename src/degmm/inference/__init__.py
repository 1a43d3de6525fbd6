"""Inference: from moments to the parameters of a mixture, by EM or by a network."""
