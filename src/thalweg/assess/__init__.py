"""Accuracy and area as the field reports them: a stratified random sample of a map, and what it says once interpreted.

Source: Olofsson, Foody, Herold, Stehman, Woodcock, Wulder 2014, Good practices for estimating area and assessing
accuracy of land change, Remote Sensing of Environment 148, https://doi.org/10.1016/j.rse.2014.02.015; equations by
their numbers there.
"""
