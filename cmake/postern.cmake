# The flags that all our code is built with, and the three kinds of target that we have.
add_library(postern_flags INTERFACE)
target_compile_definitions(postern_flags INTERFACE _GNU_SOURCE H2O_USE_LIBUV=0)
target_include_directories(postern_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(postern_flags INTERFACE -UNDEBUG # asserts stay on in every build
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings
    -Wcast-qual -Wvla -Wimplicit-fallthrough -Wformat=2 -fno-common
    -include ${PROJECT_SOURCE_DIR}/base/banned.h
    $<$<BOOL:${POSTERN_WERROR}>:-Werror>)
target_link_libraries(postern_flags INTERFACE PkgConfig::H2O Threads::Threads)
if(POSTERN_SANITIZE)
    target_compile_options(postern_flags INTERFACE -fsanitize=${POSTERN_SANITIZE}
        -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(postern_flags INTERFACE -fsanitize=${POSTERN_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
    target_compile_options(postern_flags INTERFACE -fstack-protector-strong -U_FORTIFY_SOURCE
        -D_FORTIFY_SOURCE=2 -fPIE)
    target_link_options(postern_flags INTERFACE -pie -Wl,-z,relro -Wl,-z,now -Wl,--as-needed)
endif()

# postern_library(base SOURCES a.c b.c LINKS postern_x PkgConfig::Y): one folder, one library.
function(postern_library name)
    cmake_parse_arguments(LIB "" "" "SOURCES;LINKS" ${ARGN})
    add_library(postern_${name} STATIC ${LIB_SOURCES})
    target_include_directories(postern_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_BINARY_DIR})
    target_link_libraries(postern_${name} PUBLIC postern_flags ${LIB_LINKS})
endfunction()

# postern_test(test_json LINKS postern_base): tests/unit/test_json.c as one cmocka program.
# Its folder's private headers can be included bare, so that a parser is tested without a public door.
function(postern_test name)
    if(NOT POSTERN_TESTS)
        return()
    endif()
    cmake_parse_arguments(TEST "" "" "LINKS" ${ARGN})
    add_executable(${name} ${PROJECT_SOURCE_DIR}/tests/unit/${name}.c)
    target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_compile_definitions(${name} PRIVATE TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
    target_link_libraries(${name} PRIVATE ${TEST_LINKS} postern_flags cmocka)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT 120 ENVIRONMENT
        "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0")
endfunction()

# postern_embed(target NAME file...): the files' bytes as a C table, `const struct embedded_file NAME[]`
# (http/template.h), ended by an entry without a name.
function(postern_embed target table)
    set(out ${CMAKE_CURRENT_BINARY_DIR}/${table}.c)
    set(files)
    foreach(file ${ARGN})
        list(APPEND files ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    endforeach()
    add_custom_command(OUTPUT ${out}
        COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DTABLE=${table} "-DFILES=${files}"
                -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
        DEPENDS ${files} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
        COMMENT "embedding ${table}" VERBATIM)
    target_sources(${target} PRIVATE ${out})
endfunction()
