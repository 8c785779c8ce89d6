"""Write the golden files anew from the code as it stands. Read the difference before committing."""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    source = HERE.parent / "unit" / "plan" / "test_build.py"
    spec = importlib.util.spec_from_file_location("golden_source", source)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    item = module.StageItem(name="model", uri="hf://a/b")
    module.GOLDEN.write_text(module.render(module.build(module.request(stage=(item,)))) + "\n")


if __name__ == "__main__":
    main()
