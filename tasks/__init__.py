"""Declarations of tasks, one file per skill, and of mixtures. None of them imports TensorFlow.

`import agentbank_jax.tasks.seqio_registry` registers them with SeqIO.
"""
