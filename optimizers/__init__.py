"""Scripts that improve prompts and models; nothing else in Charlie imports them."""
