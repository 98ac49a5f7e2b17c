"""Are the pairs of important features those that interact (paper §4.3, Fig. 4)?"""
