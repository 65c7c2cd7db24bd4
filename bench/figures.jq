# SPDX-License-Identifier: Apache-2.0
# What the programs of this directory share: medians, and figures for tables.

def median: sort | if length == 0 then null
    elif length % 2 == 1 then .[length / 2 | floor]
    else (.[length / 2 - 1] + .[length / 2]) / 2 end;

def digits($n): . * pow(10; $n) | round / pow(10; $n);
# $n: digits of what takes a second or more.
def seconds($n): if . == null then "" elif . < 0.1 then
    "\(. * 1000 | digits(1)) ms" elif . < 1 then "\(. * 1000 | round) ms"
    else "\(digits($n)) s" end;
def row: "| " + join(" | ") + " |";
# How often each was measured: "1 to 3 rounds".
def rounds: unique | if . == [1] then "1 round" else
    "\(if length == 1 then "" else "\(first) to " end)\(last) rounds" end;
