"""Tokenizers: SentencePiece models and `tokenizer.json`."""
