"""The heavy work: capture, training, evaluation. Apps never import each other; `kolm.cli` joins them."""
