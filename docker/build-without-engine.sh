#!/bin/bash
# Builds docker/Dockerfile without a Docker engine, and proves theorems in the image, without a network.
#
#   sudo docker/build-without-engine.sh [IMAGE.tar]     # with a file, the image is also written there (docker load)
#
# For machines where no engine runs and no registry of images is reached: Debian's buildah with chroot isolation, on
# a base that debootstrap makes. As root, on Debian (apt-get install buildah debootstrap). What pip and npm are
# configured with here, they use in the build as well.
set -euo pipefail
cd "$(dirname "$0")/.."

for program in buildah debootstrap unshare; do
    command -v "$program" >/dev/null || { echo "$program is missing: apt-get install buildah debootstrap" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "this must run as root" >&2; exit 2; }

work=$(mktemp -d)
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
buildah() { command buildah --root "$work/storage" --runroot "$work/run" "$@"; }
clean() {
    buildah rm --all >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean EXIT
say() { echo "[$SECONDS s] $*"; }

say "Making a base"
debootstrap --variant=minbase bookworm "$work/base" >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
base=$(buildah from scratch)
buildah add --quiet "$base" "$work/base" / >/dev/null
buildah commit --quiet --rm "$base" localhost/base >/dev/null
rm -rf "$work/base"

# Configurations as secrets; the folders and certificates of this machine that they name, to be read in the build.
pip config list | sed -n "s/^:env:\.\|^[a-z]*\.//; s/^\([a-z-]*\)='\(.*\)'$/\1 = \2/p" | grep -v ' = $' \
    | { echo "[global]"; awk '!seen[$1]++'; } >"$work/pip.conf"
npm config list --json 2>/dev/null | python3 -c '
import json, sys
read = json.loads(sys.stdin.read() or "{}")
print(*(f"{key}={read[key]}" for key in ("registry", "cafile") if read.get(key)), sep="\n")' >"$work/npmrc"
volumes=()
while read -r path; do
    if [ -e "$path" ]; then
        mounted=${path%/simple}  # an index that is a folder names files beside it
        volumes+=(--volume "$mounted:/host$mounted:ro")
        sed -i -E "s#(^|[^[:alnum:]_/-]|://)$path(/| |\$)#\1/host$path\2#g" "$work/pip.conf" "$work/npmrc"
    fi
done < <(grep --only-matching --no-filename --extended-regexp '(://|[= ])/[^ ]+' "$work/pip.conf" "$work/npmrc" \
    | sed 's/^:\/\///; s/^[= ]//' | sort --unique)

say "Building"
buildah bud --quiet --pull-never --layers=false --build-arg BASE=localhost/base \
    --secret "id=pip,src=$work/pip.conf" --secret "id=npm,src=$work/npmrc" "${volumes[@]}" \
    --file docker/Dockerfile --tag localhost/lean-prover . >"$work/log" 2>&1 || { tail -40 "$work/log" >&2; exit 1; }
say "Built: $(buildah images --format '{{.Size}}' localhost/lean-prover)"

# As `docker run --rm --network none -v FOLDER:/work lean-prover ARGUMENTS` would.
container=$(buildah from --pull-never localhost/lean-prover)
mkdir --mode=777 "$work/files"
cp lean_project/Examples/Logic.lean "$work/files/"
in_image() { unshare --net -- "$(command -v buildah)" --root "$work/storage" --runroot "$work/run" \
    run --volume "$work/files:/work" "$container" -- "$@"; }

say "Proving in it, twice"
for time in 1 2; do
    in_image prove Logic.lean --seed 7 --max-tactics 300 --workers 1 --json -o "proved.$time.lean" \
        | sed -E 's/"[a-z_]*seconds": [0-9.e-]+/"seconds": 0/g' >"$work/report.$time"
done
cmp "$work/report.1" "$work/report.2"
cmp "$work/files/proved.1.lean" "$work/files/proved.2.lean"
in_image prove --check proved.1.lean --against Logic.lean
[ "$(in_image id -u)" != 0 ] || { echo "the image runs as root" >&2; exit 1; }
say "The same proofs twice: $(wc -l <"$work/report.1") theorems"

if [ $# -gt 0 ]; then
    buildah push --quiet localhost/lean-prover "docker-archive:$1:lean-prover:latest"
    say "Written: $1"
fi
