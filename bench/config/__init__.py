"""The configuration of a run.

settings     the settings, declared once: source of the flags, YAML keys, help and defaults
values       how one value is written and checked
flags        command line flags made from the settings
other_tools  what to write in place of a flag of another load tester
renamed      settings that had another name in an older version
resolution   from the given settings to a complete configuration, with every problem at once
run_config   the complete configuration
"""

from bench.config.resolution import read_yaml, resolve
from bench.config.run_config import RunConfig
from bench.config.settings import Settings

__all__ = ["RunConfig", "Settings", "read_yaml", "resolve"]
