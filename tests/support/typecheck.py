"""The type checker of the tests: beartype, with ints welcome where floats are."""

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
