# The few commands of this checkout. An active virtual or conda environment is used, else .venv is
# made from the lock. Nothing here needs root, a running service or a browser.
#
#   make run                    the demo: simulators, jobs, dashboards, until Ctrl-C
#   make run ARGS=--once        the demo's jobs once, then end with 0 or 1
#   make test                   every test but the long failure runs
#   make test-fast              no kernels, servers or browser
#   make check                  style, types, import arrows, migrations, notebooks
#   make bench [WING=rain]      the benchmarks' tables
#   make chaos                  long failure and soak runs
#   make lab                    JupyterLab on notebooks/
#   make wheelhouse             every locked file into wheelhouse/, for a machine without network:
#   make run WHEELHOUSE=dir     installs from there (also make test; fill it with TEST=1 then)
#   make docs                   the tables of docs/settings.md from the settings' classes
#   make lock [UPGRADE=1]       the locks from pyproject.toml (needs uv); UPGRADE takes newer versions
#   make clean                  caches and build leftovers; never outputs/

ARGS ?=
JOBS ?= 2
WING ?=
WHEELHOUSE ?=
TEST ?=
UPGRADE ?=

# The first Python that is new enough; tools/environment.py says what to do where there is none.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c "$(NEW_ENOUGH)" 2>/dev/null && echo "$$p" && exit; done; \
	command -v python3 >/dev/null 2>&1 && echo python3)
ENVIRONMENT = $(or $(PYTHON),$(error Python 3.11 or newer is needed, type: sudo apt install python3 python3-venv)) \
	tools/environment.py $(if $(WHEELHOUSE),--wheelhouse $(WHEELHOUSE))

.PHONY: docs pictures run test test-fast check bench chaos lab wheelhouse lock clean install

run:
	@$(ENVIRONMENT) -- workspace up --demo $(ARGS)

install:
	@$(ENVIRONMENT)

test:
	@$(ENVIRONMENT) --test -- python -m pytest -n $(JOBS) --dist worksteal -m "not chaos" $(ARGS)

test-fast:
	@$(ENVIRONMENT) --test -- python -m pytest -n $(JOBS) --dist worksteal \
		-m "not (kernel or server or browser or slow or chaos)" $(ARGS)

chaos:
	@$(ENVIRONMENT) --test -- python -m pytest -m chaos $(ARGS)

check:
	@$(ENVIRONMENT) --test -- python tools/check.py

bench:
	@$(ENVIRONMENT) --test -- python benchmarks/run.py $(WING)

lab:
	@$(ENVIRONMENT) -- python -m ipykernel install --sys-prefix --display-name "Field workspace"
	@$(ENVIRONMENT) -- python -m jupyterlab --notebook-dir=notebooks $(ARGS)

wheelhouse:
	@$(ENVIRONMENT) $(if $(TEST),--test) --download $(or $(WHEELHOUSE),wheelhouse)

RESOLVE = uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" \
	--extra build --extra notebooks --extra dashboards --extra web --extra demo --extra dask

lock:
	$(RESOLVE) $(if $(UPGRADE),--upgrade) -o requirements.lock
	$(RESOLVE) $(if $(UPGRADE),--upgrade) -c requirements.lock --extra test --extra bench \
		-o requirements-test.lock

docs:
	@$(ENVIRONMENT) -- python tools/settings_page.py

pictures:
	@$(ENVIRONMENT) -- python tools/event_picture.py

clean:
	rm -rf build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis test-artefacts
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
