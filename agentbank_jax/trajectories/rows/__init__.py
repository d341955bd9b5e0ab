"""Files of rows, whatever the rows mean."""
