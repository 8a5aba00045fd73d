# Runs a server until standard input is closed, and then kills it and removes its directory ($1).
# The system closes standard input however the process at its other end ends, even by SIGKILL.
#
# In: "start", the words of a command, one a line, and an empty line.
# Out: "started PID", and later "ended STATUS"; then another start may follow.

# The system sends it to a process group that becomes an orphan with a stopped process in it, such
# as a frozen server.
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
    # No order comes while the server runs, so a read ends when the pipe is closed. SIGKILL ends a
    # frozen server, too.
    { read -r order <&3; kill -KILL "$server"; } >/dev/null 2>&1 &
    reader=$!
    # If nobody reads it any more, SIGPIPE ends the inner shell only.
    (echo "started $server") 2>/dev/null
    wait "$server"
    status=$?
    kill -KILL "$reader" 2>/dev/null
    wait "$reader" 2>/dev/null
    # The server's children, such as the transfer of a node's state, are in the process group of
    # this script.
    trap '' TERM
    kill -TERM 0
    trap - TERM
    (echo "ended $status") 2>/dev/null
done

# The server's children may still be writing, so one attempt may not be enough.
attempt=0
until rm -rf "$directory" 2>/dev/null || [ "$attempt" -eq 50 ]; do
    attempt=$((attempt + 1))
    sleep 0.1
done
