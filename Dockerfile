# Thalweg with CUDA by PyTorch's own wheels: docs/containers.md. The project itself is mounted, not copied.
FROM python:3.11-slim-bookworm

ARG UID=1000
ENV DVC_NO_ANALYTICS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONPATH=/project/src \
    VIRTUAL_ENV=/opt/thalweg \
    PATH=/opt/thalweg/bin:$PATH

# git is DVC's; everything else comes in wheels
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --non-unique --uid "$UID" --create-home thalweg \
    && mkdir /project && chown thalweg /project

# packages first: a change of the code does not install them again
WORKDIR /opt/source
COPY pyproject.toml requirements.lock README.md ./
RUN mkdir -p src/thalweg \
    && echo '__version__ = "0"' > src/thalweg/__init__.py \
    && python -m venv "$VIRTUAL_ENV" \
    && python -m pip install --no-cache-dir --constraint requirements.lock . \
    && python -m pip uninstall --yes thalweg \
    && rm -rf build src

# the package itself, for where no project is mounted; else the project's own src is what runs (PYTHONPATH)
COPY src src
RUN python -m pip install --no-cache-dir --no-deps . \
    && thalweg --version

USER $UID
WORKDIR /project
RUN git config --global --add safe.directory /project
VOLUME ["/project"]
HEALTHCHECK --interval=5m --timeout=30s CMD ["thalweg", "--version"]
CMD ["thalweg", "train"]
