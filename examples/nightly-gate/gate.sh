#!/usr/bin/env bash
# Measures a service three times and holds it to its objectives and to the builds before. Exit status: that of the gate.
# Usage: [URL=http://...] [BASELINE=baseline.json] [DURATION=2s] gate.sh
set -euo pipefail
if [ -z "${URL:-}" ]; then
  mkdir -p runs
  python -m mockserver --port 0 --ttft lognormal:mean=40ms,cv=0.3,max=200ms --tpot 4ms >runs/mock.txt &
  trap 'kill %1' EXIT
  until URL="$(sed -n 's/^mockserver ready at //p' runs/mock.txt)" && [ -n "$URL" ]; do kill -0 $!; sleep 0.1; done
fi
night="runs/nightly/$(date +%Y%m%dT%H%M%S)"
for n in 1 2 3; do
  # Status 3 is a run that is INVALID; the gate leaves it out.
  python -m bench run --url "$URL" --rate "${RATE:-15}" --duration "${DURATION:-2s}" --input-tokens 100 --output-tokens 12 \
    --out "$night/$n" --quiet || test $? = 3
done
python -m bench gate "$night" --slo "ttft:p90<500ms" --slo "error_rate<20%" \
  --baseline "${BASELINE:-baseline.json}" --update --junit runs/gate.xml --summary runs/gate.md
