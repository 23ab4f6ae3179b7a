# syntax=docker/dockerfile:1
# `docker build .` makes the worker; `docker build --target mailer .` makes the example mailer, and
# `docker build --target bridge .` the bridge from Proca's RabbitMQ.
# The tag is exact; pin the digest you have tested with
# --build-arg PYTHON_IMAGE=python:3.11.14-slim-trixie@sha256:…
ARG PYTHON_IMAGE=python:3.11.14-slim-trixie

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Wheels only, each with its hash; what is compiled is the native pass alone, here and never later.
COPY requirements.build.lock requirements.native.lock requirements.worker.lock ./
RUN pip install --require-hashes --only-binary :all: -r requirements.build.lock \
    && python -m venv --without-pip /opt/streams \
    && pip --python /opt/streams/bin/python install --require-hashes --only-binary :all: -r requirements.worker.lock
COPY pyproject.toml README.md LICENSE ./
COPY streams ./streams
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/streams/bin/python install --no-deps --no-index /wheels/*.whl

# Its compiler stays in this stage, and is of no use to the other images.
FROM builder AS native-builder
RUN pip install --require-hashes --only-binary :all: -r requirements.native.lock \
    && CC="python -m ziglang cc" /opt/streams/bin/python -m streams.native.build

FROM builder AS mailer-builder
COPY requirements.mailer.lock ./
RUN python -m venv --without-pip /opt/mailer \
    && pip --python /opt/mailer/bin/python install --require-hashes --only-binary :all: -r requirements.mailer.lock \
    && pip --python /opt/mailer/bin/python install --no-deps --no-index /wheels/*.whl

FROM builder AS bridge-builder
COPY requirements.proca.lock ./
RUN python -m venv --without-pip /opt/bridge \
    && pip --python /opt/bridge/bin/python install --require-hashes --only-binary :all: -r requirements.proca.lock \
    && pip --python /opt/bridge/bin/python install --no-deps --no-index /wheels/*.whl

FROM ${PYTHON_IMAGE} AS runtime
# A number, so that Kubernetes' runAsNonRoot can see that it is not root.
RUN groupadd --gid 10001 streams \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin streams \
    && install --directory --owner 10001 --group 10001 /var/lib/streams
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
STOPSIGNAL SIGTERM

FROM runtime AS mailer
COPY --from=mailer-builder /opt/mailer /opt/mailer
COPY examples /opt/mailer-source/examples
ENV PATH=/opt/mailer/bin:$PATH
WORKDIR /opt/mailer-source
USER 10001:10001
ENTRYPOINT ["python", "-m", "examples.mailer"]

FROM runtime AS bridge
COPY --from=bridge-builder /opt/bridge /opt/bridge
COPY examples /opt/bridge-source/examples
ENV PATH=/opt/bridge/bin:$PATH
WORKDIR /opt/bridge-source
USER 10001:10001
ENTRYPOINT ["python", "-m", "examples.proca"]
CMD ["actions"]

# Last, so that it is what is built without --target.
FROM runtime AS worker
COPY --from=native-builder /opt/streams /opt/streams
ENV PATH=/opt/streams/bin:$PATH \
    STREAMS_WEB_HOST=0.0.0.0 \
    STREAMS_WEB_PORT=6066 \
    STREAMS_STORE_FOLDER=/var/lib/streams/state
WORKDIR /var/lib/streams
USER 10001:10001
# The only place that is written to: the root file system may be read-only.
VOLUME ["/var/lib/streams"]
EXPOSE 6066
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; web = http.client.HTTPConnection('127.0.0.1', int(os.environ['STREAMS_WEB_PORT']), timeout=3); web.request('GET', '/livez'); sys.exit(web.getresponse().status != 200)"]
ENTRYPOINT ["streams"]
CMD ["worker"]
