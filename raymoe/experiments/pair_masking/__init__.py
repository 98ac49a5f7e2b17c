"""Does masking the pairs that interact hurt more than masking others (paper §4.4, Table 1)?"""
