#!/usr/bin/env bash
# One Ceph monitor, one OSD that keeps everything in memory and one radosgw, on loopback and all below DIR. Says `ready`
# once the gateway answers; when its input closes, as it does when the process that started it dies, it ends them all and
# removes DIR. Where it fails, it says what the daemons did.
# Needs Debian's radosgw, ceph-mon, ceph-osd and ceph-common.
set -euo pipefail
usage='usage: ceph-rgw.fixture.sh DIR MONITOR_V2_PORT MONITOR_V1_PORT GATEWAY_PORT'
dir=${1:?$usage} mon_v2=${2:?$usage} mon_v1=${3:?$usage} port=${4:?$usage}
conf=$dir/ceph.conf log=$dir/out.log
daemons=()

finish() {
  local status=$?
  trap '' EXIT HUP INT TERM
  ((${#daemons[@]} == 0)) || kill -KILL "${daemons[@]}" 2>/dev/null || true
  wait 2>/dev/null
  ((status == 0)) || tail -n 20 "$log" >&2 || true
  rm -rf "$dir"
  exit "$status"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

# A daemon dies with this script, also where nothing gives the script the time to end it.
daemon() {
  setpriv --pdeathsig KILL "$@" </dev/null >>"$log" 2>&1 &
  daemons+=($!)
}
admin() {
  timeout 60 radosgw-admin -c "$conf" -n client.rgw "$@" >>"$log" 2>&1
}

mkdir -p "$dir/mon" "$dir/osd"
fsid=$(</proc/sys/kernel/random/uuid)
osd=$(</proc/sys/kernel/random/uuid)
# No authentication inside the cluster, which is on loopback, and none of the waits that a cluster of many machines
# needs: the monitor's alone are 12 of the 14 seconds that this takes otherwise.
cat >"$conf" <<CONF
[global]
fsid = $fsid
mon host = [v2:127.0.0.1:$mon_v2,v1:127.0.0.1:$mon_v1]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms mon client mode = crc
ms bind retry count = 1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
paxos propose interval = 0.02
paxos min wait = 0.01
run dir = $dir
admin socket = $dir/\$name.asok
log file = $dir/\$name.log
pid file =
mon cluster log file = $dir/cluster.log
heartbeat file =
[mon]
mon data = $dir/mon
mon data avail crit = 1
mon pg warn min per osd = 0
[osd]
osd data = $dir/osd
osd objectstore = memstore
memstore device bytes = 10G
memstore page set = false
osd class load list = *
osd class default list = *
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw enable usage log = false
rgw gc obj min wait = 2
rgw gc processor period = 2
rgw thread pool size = 64
rgw s3 auth use sts = true
rgw s3 auth order = local, sts
rgw sts key = worthless-key-16
CONF

ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *' >>"$log" 2>&1
monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon_v2,v1:127.0.0.1:$mon_v1]" "$dir/monmap" >>"$log" 2>&1
ceph-mon -c "$conf" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring" >>"$log" 2>&1
daemon ceph-mon -f -c "$conf" -i a
timeout 20 ceph -c "$conf" osd new "$osd" >>"$log" 2>&1
ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd" >>"$log" 2>&1
daemon ceph-osd -f -c "$conf" -i 0
# The first of these waits for the OSD by itself.
admin user create --uid=owner --display-name=owner --access-key=owner-key --secret-key=owner-worthless-secret
admin user create --uid=stranger --display-name=stranger --access-key=stranger-key --secret-key=stranger-worthless-secret
admin role create --role-name=reader --assume-role-policy-doc='{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
  "Principal":{"AWS":["arn:aws:iam:::user/stranger"]},"Action":["sts:AssumeRole"]}]}'
admin role-policy put --role-name=reader --policy-name=read --policy-doc='{"Version":"2012-10-17","Statement":[{
  "Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":"arn:aws:s3:::*"}]}'
daemon radosgw -f -c "$conf" -n client.rgw
until curl -s -o /dev/null "http://127.0.0.1:$port/"; do
  kill -0 "${daemons[@]}"
  sleep 0.05
done
echo ready
cat >/dev/null
