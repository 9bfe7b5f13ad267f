"""How the specimen was made: its world, tokenizer, trainer and scores."""
