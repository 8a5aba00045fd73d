# Keeps a server as long as somebody holds the other end of this script's standard input, and then ends it and
# removes its directory ($1). That other end closes however its holder ends, be it by SIGKILL.
#
# In: "start", the words of a command, one a line, and an empty line.
# Out: "started PID", and later "ended STATUS"; then there may be a next start.

# Sent to a process group that is left alone with a stopped process in it, which is what a frozen server is.
trap '' HUP
directory=$1
exec 3<&0

while IFS= read -r order <&3; do
    [ "$order" = start ] || continue
    set --
    while IFS= read -r word <&3 && [ -n "$word" ]; do
        set -- "$@" "$word"
    done

    "$@" 3<&- </dev/null >>"$directory/output.log" 2>&1 &
    server=$!
    # No order comes while the server runs, so a read ends when the pipe does. SIGKILL ends a frozen one, too.
    { read -r order <&3; kill -KILL "$server"; } >/dev/null 2>&1 &
    reader=$!
    # Whoever is gone can't be told, and the SIGPIPE ends the inner shell only.
    (echo "started $server") 2>/dev/null
    wait "$server"
    status=$?
    kill -KILL "$reader" 2>/dev/null
    wait "$reader" 2>/dev/null
    # What the server had started, such as the transfer of a node's state, is in the process group of this script.
    trap '' TERM
    kill -TERM 0
    trap - TERM
    (echo "ended $status") 2>/dev/null
done

# What the server had started may still be writing, so once may not be enough.
attempt=0
until rm -rf "$directory" 2>/dev/null || [ "$attempt" -eq 50 ]; do
    attempt=$((attempt + 1))
    sleep 0.1
done
