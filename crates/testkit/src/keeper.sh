# Keeps one server as a child and outlives nobody: when stdin ends, however its writer ended, the server
# is killed and its folder removed. $1 is the folder; the rest is the server's command line.
#
# As long as this shell has not waited for the server, no other process can get its pid.
dir=$1
shift
"$@" 2>&1 &
pid=$!
echo "latchwork-pid $pid"
# From here on only the server holds our stdout: its end is the server's end.
exec >/dev/null 2>&1
trap '' INT TERM HUP
keep= dead=
while read -r word; do
    case $word in
        keep) keep=1 ;;
        dead) dead=1 ;;
    esac
done
[ -n "$dead" ] || kill -9 "$pid"
wait "$pid"
[ -n "$keep" ] || rm -rf -- "$dir"
