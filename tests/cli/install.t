# SPDX-License-Identifier: BSD-2-Clause
# make install and uninstall, what they put in place, and that it is read by those it is for. Always of build/hive.
. "$(dirname "$0")/lib.sh"
unset MAKEFLAGS MAKELEVEL MAKEOVERRIDES PREFIX MANPATH 2>/dev/null
[ -x "$top/build/hive" ] || { echo 'Bail out! build/hive is missing; build it first: make'; exit 1; }

# in_tree TARGET [VARIABLE=VALUE...]
in_tree() { make -s -C "$top" "$@"; }
share=$T/stage/usr/share

mkdir -p stage/usr/bin
ln -s elsewhere stage/usr/bin/hive-help
echo 'of somebody else' >stage/usr/bin/hive-other
(umask 077 && in_tree install DESTDIR="$T/stage" PREFIX=/usr >install.out 2>&1)
ok $? 'make install' || sed 's/^/#   /' install.out
check 'with a umask of 077 the files are for all' sh -c '[ -z "$(find stage ! -type l ! -perm -o=r)" ]'
check 'the program is the one that was built' cmp "$top/build/hive" stage/usr/bin/hive
check 'and is executable for all' sh -c '[ "$(stat -c %a stage/usr/bin/hive)" = 755 ]'

for name in $(hive help --symlinks); do
    is "symlink $name" "$(readlink "stage/usr/bin/$name")" hive
    check "$name works" "stage/usr/bin/$name" --help
    check "man page of $name" test -s "$share/man/man1/$name.1"
done
check 'no broken links' sh -c '[ -z "$(find stage -xtype l)" ]'

if command -v groff >/dev/null; then
    check 'man pages render without a warning' sh -c '
        for page in "$1"/man/man[15]/*; do
            groff -mandoc -Tutf8 -ww -Kutf8 "$page" >page.out 2>>page.err && [ -s page.out ] || echo "$page" >>page.err
        done
        ! grep . page.err' - "$share"
else
    skip 1 'no groff'
fi
if command -v mandoc >/dev/null; then
    check 'mandoc finds no error' mandoc -Tlint -Werror "$share"/man/man1/*.1 "$share"/man/man5/*.5
else
    skip 1 'no mandoc'
fi
if command -v man >/dev/null; then
    like 'man finds the page of a command' "$(man -M "$share/man" -P cat hive-submit 2>&1)" 'queue a command to run'
    like 'and that of the settings file' "$(man -M "$share/man" -P cat 5 hive.conf 2>&1)" 'daemon\.listen|listen'
else
    skip 2 'no man'
fi

# What a completion offers is tested in completion.t; here, that a shell takes the file and knows the commands by it.
if command -v bash >/dev/null; then
    for name in hive hive-submit; do
        is "bash completes $name" "$(bash --norc -c '. "$1" && complete -p "$2"' - \
            "$share/bash-completion/completions/$name" "$name" 2>&1)" "complete -F _hive $name"
    done
else
    skip 2 'no bash'
fi
if command -v zsh >/dev/null; then
    is 'zsh completes hive-submit' "$(zsh -fc 'fpath=($1 $fpath); autoload -Uz compinit; compinit -u -d $2
        echo $_comps[hive-submit]' - "$share/zsh/site-functions" "$T/zcompdump" 2>&1)" _hive
else
    skip 1 'no zsh'
fi
if command -v fish >/dev/null; then
    like 'fish completes hive-submit' "$(fish --no-config -c "source $share/fish/vendor_completions.d/hive-submit.fish
        complete -C 'hive-submit --arr'" 2>&1)" '^--array'
else
    skip 1 'no fish'
fi

for name in $(hive version --json | jq -r '.vendor[].name'); do
    check "licence text of $name" grep -q "^$name [0-9]" "$share/doc/hive/THIRD-PARTY-LICENSES"
done
check 'our own licence' cmp "$top/LICENSE" "$share/doc/hive/LICENSE"
check 'licence texts of others are not in the tree' sh -c '! git -C "$1" ls-files | grep THIRD-PARTY' - "$top"

# A running program is replaced, not written over: "text file busy", and the daemon would die of it.
HIVE_STATE_DIR=$T/s2 HIVE_RUNTIME_DIR=$T/r2 stage/usr/bin/hive daemon --listen none --ready-fd 9 9>ready 2>d2.log &
daemon_pid=$!
wait_for 20 test -s ready
check 'install over a running daemon' in_tree install DESTDIR="$T/stage" PREFIX=/usr
check 'it goes on' kill -0 "$daemon_pid"
stop_daemon
is 'and ends as always' "$daemon_status" 0

ln -sf elsewhere stage/usr/bin/hive-logs
check 'make uninstall' in_tree uninstall DESTDIR="$T/stage" PREFIX=/usr
is 'nothing is left but what is not ours' "$(cd stage && find . ! -type d | sort)" './usr/bin/hive-logs
./usr/bin/hive-other'
check 'make uninstall where nothing is' in_tree uninstall DESTDIR="$T/none" PREFIX=/usr
done_testing
