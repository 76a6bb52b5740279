"""Networks that find and name in one pass: detectors with words, and what came after two stages."""
