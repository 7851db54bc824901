# One image for the load generator, the mock and the console:
#   docker build -t trueload .
#   docker run --rm trueload --help
#   docker run --rm --read-only --tmpfs /tmp --env TRUELOAD_TOKEN=... --publish 127.0.0.1:8600:8600 trueload    # the console
# Its base has amd64 and arm64, so docker buildx build --platform linux/amd64,linux/arm64 makes both.
# The first stage has a compiler and builds the compiled core; the second has only what runs, and no root.
FROM python:3.13-slim-trixie AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml constraints.txt hatch_build.py README.md LICENSE ./
COPY bench bench
COPY mockserver mockserver
COPY datasets datasets
RUN python -m venv /opt/trueload \
    && TRUELOAD_BUILD=compiled /opt/trueload/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt '.[remote]' \
    && /opt/trueload/bin/pip uninstall --yes --quiet pip

FROM python:3.13-slim-trixie
COPY --from=build /opt/trueload /opt/trueload
# A volume that is mounted on /srv/trueload/runs takes its owner from here.
RUN useradd --uid 10001 --create-home --home-dir /srv/trueload trueload \
    && install --directory --owner=10001 --group=10001 /srv/trueload/runs
USER 10001
WORKDIR /srv/trueload
# Nothing is written outside of runs/ and /tmp, so the root file system may be read-only.
ENV PATH=/opt/trueload/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 XDG_CACHE_HOME=/tmp/cache
# 8000: the mock. 8600: the console.
EXPOSE 8000 8600
# Of the console. A load test ends by itself, and its exit status says how.
HEALTHCHECK --interval=10s --start-period=30s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8600/static/console.css', timeout=2)"]
ENTRYPOINT ["trueload"]
# Other machines can reach it, so it needs a token: TRUELOAD_TOKEN.
CMD ["console", "--host", "0.0.0.0", "--runs", "/srv/trueload/runs", "--no-browser"]
