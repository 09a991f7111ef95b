"""The codebook-guided masked encoder (Du-IN): tokenizer, masked encoder, classifier.

Import from the modules: `codebook.build.build_tokenizer`, `codebook.tokenizer.CodebookTokenizer`, ...
"""
