# One image for all Python services: `docker build -t parley:0.1.0 .`, then `python -m chat_service` and so on.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/parley
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY protos protos
COPY tools tools
COPY servicekit servicekit
COPY chat_service chat_service
COPY media_service media_service
COPY presence_service presence_service
COPY notify_service notify_service
COPY parley_client parley_client
COPY parley_command parley_command
COPY devstack devstack
RUN /opt/parley/bin/pip install --no-cache-dir --disable-pip-version-check '.[heic,tracing]'

FROM python:3.11-slim-bookworm
COPY --from=build /opt/parley /opt/parley
ENV PATH=/opt/parley/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
# Overridden by the manifests: each service is a module.
CMD ["parley", "--help"]
