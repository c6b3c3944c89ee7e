"""Where to draw next: blocks of ground ranked by what their labels would teach, and what they would cost.

Source: Settles 2009, Active Learning Literature Survey, University of Wisconsin–Madison TR 1648 (uncertainty, density,
cost); Sener, Savarese 2018, Active Learning for Convolutional Neural Networks: A Core-Set Approach,
https://arxiv.org/abs/1708.00489 (k-centre greedy).
"""
