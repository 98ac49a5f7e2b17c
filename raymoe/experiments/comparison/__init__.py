"""The paper's Table 2: each model's test scores over the seeds, beside the paper's figures."""
