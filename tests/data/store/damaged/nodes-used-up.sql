UPDATE meta SET value = 9223372036854775807 WHERE name = '.next_node';
