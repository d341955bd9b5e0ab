"""The sentences that the instructions of tasks share."""

FORM = "Answer each time with a line 'Thought: ...' and then a line 'Action: ...'."
FINAL = "When you know the answer, write 'Final Answer: ...' in place of the action."
