# The registry: fastapi, sqlalchemy and kolm's verifier, without torch. Build from the repository's root:
#   docker build -f docker/registry.Dockerfile -t kolm-registry .
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY kolm kolm
COPY apps apps
COPY registry registry
RUN python -m venv /opt/kolm && /opt/kolm/bin/pip install --no-cache-dir -c constraints.txt ".[registry]"

FROM python:3.11-slim
# Uploads are verified and stored as this user; it owns nothing but /data.
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin kolm \
    && install -d -o kolm -g kolm -m 0700 /data \
    && install -d /trust
COPY --from=build /opt/kolm /opt/kolm
ENV PATH=/opt/kolm/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER kolm
VOLUME ["/data", "/trust"]
EXPOSE 8150
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=3s CMD ["python", "-c", "import httpx; httpx.get('http://127.0.0.1:8150/readyz').raise_for_status()"]
# Inside a container only the published port reaches it; compose.yaml publishes that on loopback.
CMD ["kolm", "registry", "serve", "--host", "0.0.0.0", "--port", "8150", "--data", "/data", "--trust", "/trust"]
