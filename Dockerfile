# One image for every service of compose.yaml; each calls the same command `workspace`.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    VIRTUAL_ENV=/opt/venv \
    PATH=/opt/venv/bin:$PATH

RUN useradd --create-home --uid 1000 workspace && python -m venv /opt/venv
WORKDIR /opt/field-workspace

# What changes rarely comes first, so that a changed notebook does not install everything again.
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY tools/environment.py tools/
COPY workspace_lib/__init__.py workspace_lib/
RUN python tools/environment.py

COPY workspace_lib workspace_lib
COPY notebooks notebooks
COPY parameters parameters
COPY docs docs
RUN mkdir outputs && chown workspace outputs

USER workspace
VOLUME /opt/field-workspace/outputs
ENTRYPOINT ["workspace"]
CMD ["up"]
