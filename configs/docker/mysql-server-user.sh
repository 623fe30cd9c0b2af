# Read by the shell that makes MySQL's tables for the first time (docker-entrypoint-initdb.d). The server gets a user of its own
# without any right: what it needs the custodian gives it, whose user may.
server_password=$(cat "$CARDFLOW_SERVER_PASSWORD_FILE")
case $server_password in
'' | *[!A-Za-z0-9._-]*)
	echo "mysql: $CARDFLOW_SERVER_PASSWORD_FILE has to hold the password in one line: letters, digits, dots, hyphens, underscores" >&2
	exit 1
	;;
esac
docker_process_sql <<SQL
CREATE USER 'cardflow_server'@'%' IDENTIFIED BY '$server_password';
GRANT ALL PRIVILEGES ON cardflow.* TO 'cardflow'@'%' WITH GRANT OPTION;
SQL
unset server_password
