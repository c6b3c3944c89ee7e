"""Pseudo-labels: what an ensemble is sure of, as masks for a next round of training.

Source: Lee 2013, Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks (the
labels); Zou, Yu, Kumar, Wang 2018, Unsupervised Domain Adaptation for Semantic Segmentation via Class-Balanced
Self-Training, https://arxiv.org/abs/1810.07911 (a share of each class, the surest pixels first).
"""
