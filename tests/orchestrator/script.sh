#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Script 1 for the small guest, in short: remembers which MAC address had which
# name, arms script 2, powers off. Script 2 puts the names right, reports,
# powers off. FAIL, HANG and SILENT are for tests of what goes wrong.
set -eu
mkdir -p /var/lib/diskshift
cd /var/lib/diskshift
: >nics
for net in /sys/class/net/*; do
    [ -e "$net/device" ] || continue
    echo "$(cat "$net/address") ${net##*/}" >>nics
done
[ ! -e /root/FAIL ] || { echo "cannot collect" >&2; exit 1; }
cat >/etc/rc.local <<'END'
#!/bin/sh
cd /var/lib/diskshift
ifdown -af
first= second=
while read -r mac old; do
    for net in /sys/class/net/*; do
        [ -e "$net/device" ] && [ "$(cat "$net/address")" = "$mac" ] || continue
        first="$first;s/\\<$old\\>/@$mac@/g"
        second="$second;s/@$mac@/${net##*/}/g"
    done
done <nics
sed -e "${first#;}" /etc/network/interfaces | sed -e "${second#;}" >new
cat new >/etc/network/interfaces
ifup -a
rm -f /etc/rc.local
sync
status=done
[ "$(ip -o -4 addr | grep -c 10.9.0.50)" = 1 ] || status=failed
[ -e /root/SILENT ] || echo "diskshift-result {\"schema\":1,\"kind\":\"guest-result\",\"job\":\"test\",\"part\":\"second\",\"phase\":\"settle\",\"status\":\"$status\",\"steps\":[{\"element\":\"network-names\",\"phase\":\"arrive\",\"status\":\"$status\",\"messages\":[{\"level\":\"did\",\"text\":\"interfaces put right\"}]}]}" >/dev/virtio-ports/org.diskshift.report.0
[ -e /root/HANG ] || poweroff
END
chmod 755 /etc/rc.local
sync
(sleep 1; poweroff) >/dev/null 2>&1 </dev/null &
echo armed
