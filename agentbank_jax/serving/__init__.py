"""The OpenAI interface over HTTP; see docs/serving.md."""
