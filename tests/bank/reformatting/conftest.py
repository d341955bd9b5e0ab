"""Real and made benchmark files, as the environments' own tests have them."""

from tests.environments.conftest import benchmarks, own_benchmarks  # noqa: F401
