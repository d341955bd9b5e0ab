"""Chat templates: how turns become token ids."""
