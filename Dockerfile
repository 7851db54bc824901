# One image for the load generator, the mock and the console:
#   docker build -t trueload .
#   docker run --rm trueload --help
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
    && TRUELOAD_BUILD=compiled /opt/trueload/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt . \
    && /opt/trueload/bin/pip uninstall --yes --quiet pip

FROM python:3.13-slim-trixie
COPY --from=build /opt/trueload /opt/trueload
# A volume that is mounted on /srv/trueload/runs takes its owner from here.
RUN useradd --uid 10001 --create-home --home-dir /srv/trueload trueload \
    && install --directory --owner=10001 --group=10001 /srv/trueload/runs
USER 10001
WORKDIR /srv/trueload
ENV PATH=/opt/trueload/bin:$PATH PYTHONUNBUFFERED=1
# 8000: the mock. 8600: the console.
EXPOSE 8000 8600
ENTRYPOINT ["trueload"]
CMD ["--help"]
