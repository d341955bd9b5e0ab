"""The 16 tasks of the released AgentBank data, which a user downloads.

Rows, skills and action spaces: the dataset's page (Hugging Face, `Solaris99/AgentBank`, Apache-2.0);
`verified=False` marks counts that were not read at the source. The released rows carry no
instruction, so each task adds one of this project's own wording.
"""

from agentbank_jax.data.declarations import TaskDeclaration, declare_task
from agentbank_jax.tasks.math import GSM8K

REMEDY = "download it with: hf download Solaris99/AgentBank --repo-type dataset --local-dir data"

_FORM = "Answer each time with a line 'Thought: ...' and then a line 'Action: ...'."
_FINAL = "When you know the answer, write 'Final Answer: ...' in place of the action."
_SEARCH = f"Answer the question. {_FORM} The action is search[query]. {_FINAL}"
_CALCULATE = f"Solve the problem. {_FORM} The action is an arithmetic expression, and you see its value. {_FINAL}"
_PYTHON = f"Solve the problem. {_FORM} The action is a block of Python code or an expression. {_FINAL}"
_PROGRAM = f"Write a Python program for the task. {_FORM} The action is a block of Python code. {_FINAL}"
_SQL = f"Answer the question from a database. {_FORM} The action is a block of SQL, or submit when the result is right."
_SHOP = f"Buy what is asked for in the web shop. {_FORM} The action is search[keywords] or click[value]."
_WEB = f"Reach the goal on the web page. {_FORM} The action is the next operation on the page."
_HOUSE = (
    f"Reach the goal in the household. {_FORM} The actions are those of the text game: go to, take, put, open, close, "
    "toggle, clean, heat, cool, inventory and look."
)
_ROOM = f"Reach the goal in the room. {_FORM} The action is the next thing to do."

_ROWS: tuple[tuple[str, str, str, str, int | None, bool], ...] = (
    # name, skill, action space, instruction, rows, read at the source
    ("hotpotqa", "reasoning", "continuous", _SEARCH, 4273, True),
    ("strategyqa", "reasoning", "continuous", _SEARCH, 1267, False),
    ("triviaqa", "reasoning", "continuous", _SEARCH, 4134, True),
    ("mathqa", "math", "continuous", _CALCULATE, 4000, True),
    ("math", "math", "continuous", _PYTHON, 2273, True),
    ("intercode_sql", "programming", "continuous", _SQL, 4522, True),
    ("apps", "programming", "continuous", _PROGRAM, 4408, True),
    ("humaneval", "programming", "continuous", _PROGRAM, 132, True),
    ("mbpp", "programming", "continuous", _PROGRAM, 648, True),
    ("mind2web", "web", "discrete", _WEB, 7770, True),
    ("webarena", "web", "discrete", _WEB, 661, False),
    ("webshop", "web", "discrete", _SHOP, 5315, False),
    ("alfworld", "embodied", "discrete", _HOUSE, 3321, True),
    ("rearrange", "embodied", "discrete", _ROOM, 299, True),
    ("iqa", "embodied", "discrete", _ROOM, None, False),
)

RELEASED: tuple[TaskDeclaration, ...] = (
    GSM8K,
    *(
        declare_task(
            TaskDeclaration(
                name=name,
                skill=skill,
                action_space=action_space,
                instruction=instruction,
                expected_rows=rows,
                verified=verified,
                remedy=REMEDY,
            )
        )
        for name, skill, action_space, instruction, rows, verified in _ROWS
    ),
)
