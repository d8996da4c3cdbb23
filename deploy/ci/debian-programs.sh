#!/usr/bin/env bash
# Installs the Debian programs that tests use.  Where that is not possible the tests that need one are
# skipped by name, so this script never fails.
set -u
wanted=()
command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || wanted+=(mosquitto)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || wanted+=(postgresql)
command -v strace >/dev/null || wanted+=(strace)
command -v dbus-daemon >/dev/null || wanted+=(dbus)
command -v faketime >/dev/null || wanted+=(faketime)
[ -x /usr/sbin/ModemManager ] || wanted+=(modemmanager)
[ -x /usr/bin/chromium ] || wanted+=(chromium)
# Not by its name: pynetdicom puts programs of the same names into the environment.
[ -x /usr/bin/storescu ] || wanted+=(dcmtk)
[ -x /usr/bin/dciodvfy ] || wanted+=(dicom3tools)
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || wanted+=(orthanc orthanc-dicomweb)
command -v ip >/dev/null || [ -x /sbin/ip ] || wanted+=(iproute2)
fc-list 2>/dev/null | grep -qi "noto.*cjk" || wanted+=(fonts-noto-cjk)
[ ${#wanted[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed (needs root and apt-get): ${wanted[*]}; tests that need them are skipped by name"
  exit 0
fi
echo "installing Debian programs for tests: ${wanted[*]}"
policy=/usr/sbin/policy-rc.d
made_policy=no
if [ ! -e "$policy" ]; then
  # Package scripts must not start a broker or database on the standard ports.
  printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod +x "$policy" && made_policy=yes
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq </dev/null >/dev/null 2>&1
apt-get install -y -qq --no-install-recommends "${wanted[@]}" </dev/null >/dev/null 2>&1 ||
  echo "some of these could not be installed: ${wanted[*]}"
[ "$made_policy" = yes ] && rm -f "$policy"
exit 0
