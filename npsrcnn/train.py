"""`python -m npsrcnn.train`: the command ``npsrcnn train`` by the name it has always had."""

from npsrcnn.commands.train import main

if __name__ == "__main__":
    raise SystemExit(main())
