"""From a base model and examples to an adapter whose manifest says what was frozen and trained."""
